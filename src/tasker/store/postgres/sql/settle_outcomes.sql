-- See functions/settle_outcomes.sql.
{include call_settle_outcomes}
