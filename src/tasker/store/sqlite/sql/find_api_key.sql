-- An API key and its digest, revoked and expired ones too. :prefix text
select *
from api_key
where prefix = :prefix
