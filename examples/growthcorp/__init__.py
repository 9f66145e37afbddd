"""GrowthCorp: five teams, each with workflows of its own, two of them of one name.

handlers            what a worker is given: the handlers of four teams
payments            refunds a payment, in two versions at once
customer_success    refunds a customer: checks, asks for approval, has payments do it
microservices       registers a user at four services: the diamond
sales               fulfils an order: lines, an approval, a payment, parcels, a survey
inventory           takes goods back: a workflow in Python, with workers of its own
services            how handlers call other services
gateways            those services, simulated on a loopback port
story               what `tasker demo` runs
worker_process      a worker in a process of its own, to be killed
"""
