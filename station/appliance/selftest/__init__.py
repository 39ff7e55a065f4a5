"""``appliance selftest``: a throwaway appliance is served, and a client tries every call of every SKU against it.

What must come back is computed here from the throwaway's own keys, by an emulated device and an oracle, not asked of
the appliance.
"""
