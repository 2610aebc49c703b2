"""References to secrets, and the only way from one to the other.

    env:NAME     environment variables               environment.py
    file:NAME    an entry of the encrypted file      encrypted_file.py
    vault:PATH   a secret of HashiCorp Vault         vault.py

Sources, probes and tables hold references; a collector asks `CredentialStore.resolve` when it logs in.
docs/credentials.md describes each kind. What a field is for, the platform says, not this package.
"""

from asset_ledger.credentials.encrypted_file import EncryptedFile, Entry, generate_key
from asset_ledger.credentials.secret import Secret
from asset_ledger.credentials.store import CredentialStore

__all__ = ["CredentialStore", "EncryptedFile", "Entry", "Secret", "generate_key"]
