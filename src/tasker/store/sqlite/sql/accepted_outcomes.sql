-- Indexes of the accepted outcomes.
select ord from temp.settled
