"""BarberPro's booking service."""
