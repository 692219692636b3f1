"""What runs beside the stream: the source's stand-in, ingestion, the outbox, the audit."""
