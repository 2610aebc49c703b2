"""What is asked of the ledger: lists, pages, history, as of a day and as known at an instant."""
