-- Keep others from adding queues until this transaction ends, so that later queues have greater ids.
lock table queue in share row exclusive mode
