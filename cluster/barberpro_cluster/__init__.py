"""The embedded Kubernetes of this checkout: builds it, starts it, tells its state, removes it."""
