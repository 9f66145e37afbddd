-- Indexes of the outcomes that were in time, and whether they failed.
select ord, outcome from temp.settled order by ord
