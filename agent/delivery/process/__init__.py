"""Processes: the child of `leasehold run`, and the commands that are run for a bundle.

spawn         a process that can be waited for and signalled without a race; `run_command`
supervision   from the ledger to what the child is given
child         its lives: start, change, end
provision     what it is given, and what a change of that asks for
memory_files  sealed files in memory
guard         the kernel tells the child if the agent is killed
terminal      the child in the foreground
account       as whom it runs
reaper        orphans, where the agent is PID 1
"""
