"""The composition root: configuration in, objects out, one root TaskGroup, live reload.

    plan         what a configuration asks of its parts; pure
    composition  the parts at work, and the move from one configuration to the next
    service      a long-running command: signals, reload, readiness, an orderly end
    telemetry    who listens to the events

Here everything meets; nothing below knows this room.
"""
