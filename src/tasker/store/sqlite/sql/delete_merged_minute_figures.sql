-- Delete the rows that merge_minute_figures has added up. :before int (minute)
delete from figure where merged = 0 and template_id > 0 and minute < :before
