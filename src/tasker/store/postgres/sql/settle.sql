{include call_settle}
