"""Personal fields at rest: sealed under the tenant's own key where there is one, plain otherwise.

Only a pod that has a key loads the encryption library: it costs a pod of 0.2 CPU a second.
"""
