"""GrowthCorp: three teams, each with workflows of its own, two of them of one name.

handlers            what a worker is given: the handlers of all teams
payments            refunds a payment, in two versions at once
customer_success    refunds a customer: checks, asks for approval, has payments do it
microservices       registers a user at four services: the diamond
services            how handlers call other services
gateways            those services, simulated on a loopback port
story               what `tasker demo` runs
"""
