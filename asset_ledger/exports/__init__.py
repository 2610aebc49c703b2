"""Tables as files: CSV, Parquet, Excel. Rows come in batches, bytes go out in pieces; nothing here reads the ledger.

`formats` knows the formats, a module each writes one. Called by `pipeline.exports` and the HTTP service.
"""
