"""What the agent tells of itself: logs, metrics, health, the service manager.

Everything here listens: an object is called with each event of `core.events`, or asked for what is
known now. Nothing here decides anything, and nothing elsewhere writes a log line or counts.
"""
