-- How many broadcasts of a name and key are kept. :namespace, :name, :key text
select count(*)::int as broadcasts from broadcast where namespace = :namespace and name = :name and key = :key
