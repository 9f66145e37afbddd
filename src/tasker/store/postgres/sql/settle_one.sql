-- See functions/settle_one.sql.
{include call_settle_one}
