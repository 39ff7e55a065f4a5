"""The core of the provisioning station: no Qt, useful alone."""
