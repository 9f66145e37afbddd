-- See functions/settle.sql.
{include call_settle}
