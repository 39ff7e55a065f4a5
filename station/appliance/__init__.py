"""The embedded Provisioning Appliance: sessions, keys, endorsement, device store, development PKI."""
