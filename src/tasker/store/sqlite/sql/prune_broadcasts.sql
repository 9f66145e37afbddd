-- Delete broadcasts that were sent long ago. :older_than real (seconds), :limit int, :now real
delete from broadcast where number in (
    select number from broadcast
    where sent_at < :now - :older_than
    order by sent_at
    limit :limit
)
returning number
