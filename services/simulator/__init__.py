"""The Random User API's contract, served locally, with faults on demand."""
