-- Delete old figures. :before int (minute)
delete from figure where minute < :before
