"""What every double that speaks HTTPS is made of: certificates, the server and its wire, faults and motions, the log.

Nothing here knows a platform. A double derives from HttpsDouble (double.py) and Connection (wire.py), and adds to
Request (log.py), Fault, Motion and Registry (faults.py) what is its own.
"""
