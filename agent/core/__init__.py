"""What every room shares: errors, time, leases, events.

Pure: nothing here opens a file or a socket.
"""
