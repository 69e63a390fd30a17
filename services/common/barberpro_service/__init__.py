"""What every BarberPro service shares.

Nothing is imported here: `barberpro_service.probe` must start within the CPU of a small pod and needs the
standard library only.
"""

__version__ = "0.1.0"
