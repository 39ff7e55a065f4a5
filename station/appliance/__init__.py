"""The embedded Provisioning Appliance: sessions, secure provisioning module, keystore, device store, development PKI."""
