"""The same job by other means: each reads users.raw and writes the users and their sums to the same two stores."""
