import { defineHandler, PermanentError, typed } from 'tasker';

const MOST = 500_000; // cents

interface Approved {
  approved_amount: number;
}

interface Refund {
  refund_id: string;
  amount: number;
}

interface Eligible {
  payment_id: string;
}

const validateRefundRequest = defineHandler(
  'validate_refund_request',
  { inputs: { amount: typed<number>('refund_amount') } },
  ({ amount }): Approved => {
    if (amount > MOST) throw new PermanentError(`a manager decides about ${amount} cents`, { code: 'NEEDS_MANAGER' });
    return { approved_amount: amount };
  },
);

/** The payments team's task: another namespace, and perhaps another language. */
const executeRefundWorkflow = defineHandler(
  'execute_refund_workflow',
  { inputs: { payment: 'payment_id' }, depends: { approved: typed<Approved>('validate_refund_request') } },
  ({ payment, approved, context }) =>
    context.runTask<Refund>('payments.process_refund', {
      payment_id: payment,
      refund_amount: approved.approved_amount,
    }),
);

const updateTicketStatus = defineHandler(
  'update_ticket_status',
  { inputs: { ticket: 'ticket_id' }, depends: { refund: typed<Refund>('execute_refund_workflow') } },
  ({ ticket, refund }) => ({ ticket_id: ticket, ticket_status: 'resolved', refund_id: refund.refund_id }),
);

const validatePaymentEligibility = defineHandler(
  'validate_payment_eligibility',
  { inputs: { payment: typed<string>('payment_id') } },
  ({ payment }) => {
    if (payment.startsWith('closed_')) {
      throw new PermanentError(`payment ${payment} is closed`, { code: 'PAYMENT_CLOSED' });
    }
    return { payment_id: payment, eligible: true };
  },
);

/** A real gateway gets `context.idempotencyKey`, so that a repeated attempt moves the money once. */
const processGatewayRefund = defineHandler(
  'process_gateway_refund',
  { inputs: { amount: typed<number>('refund_amount') }, depends: { payment: typed<Eligible>('validate_payment_eligibility') } },
  ({ amount, payment }): Refund => ({ refund_id: `refund_of_${payment.payment_id}`, amount }),
);

export const handlers = [
  validateRefundRequest,
  executeRefundWorkflow,
  updateTicketStatus,
  validatePaymentEligibility,
  processGatewayRefund,
];
