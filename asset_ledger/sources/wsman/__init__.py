"""WS-Management, the protocol of WinRM: WQL over WS-Enumeration, and PowerShell in a winrs shell. No platform.

`client` speaks with one host over the one connection of `http_client`, which `dial` opens; `messages` are what is
asked, `enumeration`, `shell` and `faults` what is read in the answers, purely. NTLM, Kerberos and the encryption of
messages are pywinrm's. Used by the platforms `winrm` and `hyperv`, whose own error codes a client is given.
"""
