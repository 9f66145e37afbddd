{include call_settle_one}
