-- All API keys, newest first.
select *
from api_key
order by id desc
