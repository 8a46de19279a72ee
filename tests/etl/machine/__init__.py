"""The parts of the state machine in test_machine.py."""
