-- Remove the limit that an operator set. :namespace text, :pattern text
delete from limit_setting where namespace = :namespace and pattern = :pattern returning pattern
