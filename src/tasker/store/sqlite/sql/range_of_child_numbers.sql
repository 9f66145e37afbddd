-- The lowest and the highest number of the children; the task itself is 0.
select min(no), max(no) from temp.child
