"""The HTTP service: Terraform's states and what is derived from them, for tenants kept apart.

    app          the routes, put together, and what becomes of errors
    service      what requests share: connections, keys, limits
    login        who is asking, and what that is known by
    answers      refusals in one shape, and the record of every request
    bodies       what is sent: limit, digest, which state it is
    states       Terraform's HTTP backend
    access       passwords, tokens, the audit
    reads        states, versions, locks and events as JSON
    health       whether it lives, whether it could serve, figures
    serving      the process: uvicorn around the app

Thin: rules stand in `domain`, statements in `store`.
"""
