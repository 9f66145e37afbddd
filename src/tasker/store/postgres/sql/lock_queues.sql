-- Let no one else add queues until this transaction ends: later ones have greater ids.
lock table queue in share row exclusive mode
