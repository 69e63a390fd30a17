"""BarberPro's walk-in queue."""
