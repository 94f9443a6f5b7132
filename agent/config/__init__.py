"""The configuration: a typed model, one loader that reports every problem, a schema for editors."""
