-- See functions/settle_success.sql.
{include call_settle_success}
