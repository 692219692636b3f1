"""The real servers without Docker: what `make up` builds, starts, shows and stops."""
