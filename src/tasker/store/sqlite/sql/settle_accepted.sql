-- Indexes of the outcomes that were in time.
select ord from temp.settled
