"""Deploys on the embedded cluster while faults are injected: what becomes of them, of the tenants, and of their customers' bookings."""
