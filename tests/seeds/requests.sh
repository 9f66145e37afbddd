# Payments team creates a direct refund
curl -X POST -H "Authorization: Bearer $TOKEN" \
     -H "Content-Type: application/json" \
     -d '{
       "name": "process_refund",
       "namespace": "payments",
       "version": "2.1.3",
       "context": {
         "payment_id": "pay_123",
         "refund_amount": 4999,
         "refund_reason": "customer_request",
         "partial_refund": false
       }
     }' \
     https://your-app.com/tasker/tasks

# Customer Success team creates an approval-based refund
curl -X POST -H "Authorization: Bearer $TOKEN" \
     -H "Content-Type: application/json" \
     -d '{
       "name": "process_refund",
       "namespace": "customer_success",
       "version": "1.3.3",
       "context": {
         "ticket_id": "cs_456",
         "customer_id": "cust_789",
         "refund_amount": 4999,
         "refund_reason": "Product defective",
         "agent_notes": "Customer very upset, expedite refund",
         "requires_approval": true
       }
     }' \
     https://your-app.com/tasker/tasks

# List all namespaces and their workflows
curl -H "Authorization: Bearer $TOKEN" \
     https://your-app.com/tasker/handlers

# Explore all workflows in the payments namespace
curl -H "Authorization: Bearer $TOKEN" \
     https://your-app.com/tasker/handlers/payments

# Get detailed information about a specific workflow
curl -H "Authorization: Bearer $TOKEN" \
     https://your-app.com/tasker/handlers/payments/process_refund?version=2.1.0

# Try workflows from different teams
curl -X POST http://localhost:3000/workflows/execute \
  -H "Content-Type: application/json" \
  -d '{"namespace": "payments", "name": "process_refund", "version": "2.1.0", "context": {"payment_id": "pay_123"}}'

curl -X POST http://localhost:3000/workflows/execute \
  -H "Content-Type: application/json" \
  -d '{"namespace": "customer_success", "name": "process_refund", "version": "1.3.0", "context": {"ticket_id": "cs_456"}}'
