/*
 * sale.pml - a flash sale as docs/sale-internals.md tells it, for Spin: arm,
 * purchase, crash, reconcile, fail-over (A to B to A), cancel, close, replay of
 * a key, sold-out answers. 2 buyers (one Idempotency-Key each), 2 units, up to 3
 * epochs. A statement's snapshot and its commit are two steps; so are the look
 * and the act of whoever asks PostgreSQL and then tells Redis.
 *
 * Checked exhaustively: never two live orders on one unit, units sold and units
 * that came back to stock never more than there were, and in the end exactly
 * that many: every unit ends sold or for sale.
 *
 * Mutants, in which Spin must find the error: -DNO_KEY -DNO_EPOCH (the unit key
 * with the epoch's check), -DNO_CLAIM (the close counts instead of claiming),
 * -DNO_RECLAIM (a cancel after the close deletes its row). -DNO_EPOCH alone and
 * -DNO_REPLID alone oversell nothing: the unit key stands behind both.
 */
#define UNITS 2
#ifndef TRIES
#define TRIES 2         /* of each buyer: scripts that he has run */
#endif
#define MAXE 3          /* epochs by arming */

/* ---- PostgreSQL, as committed */
byte epoch = 1;
bool closed;
byte ord_unit[2];       /* the live order of buyer b has this unit; 0: none */
byte ord[2];            /* 0 none, 1 live, 2 cancelled */
bool claimed[3];        /* by the close; units are 1 and 2 */
byte stock;             /* that came back to the variant */
/* and what is under way */
byte pend[2];           /* unit row inserted, not committed */
bool closing;           /* the close holds the item's lock */
bool claim[3];          /* its rows, not committed */
byte share;             /* cancels that hold the item FOR SHARE */

/* ---- Redis: two servers */
typedef Counter {
	byte st;        /* 0 nothing there, 1 armed, 2 disarmed, 3 closed */
	byte epoch;
	byte held[3];   /* 0 free, else 1 + the buyer whose order holds it */
	byte srv, repl  /* where it was armed: run_id, master_replid */
};
Counter C[2];
byte cur;               /* where everybody is led to */
byte replid;

byte done;              /* processes that have ended */

#ifdef NO_REPLID
#define ARMED (C[cur].st == 1 && C[cur].srv == cur)
#else
#define ARMED (C[cur].st == 1 && C[cur].srv == cur && C[cur].repl == replid)
#endif
#define TAKEN(u) (ord_unit[0] == u || ord_unit[1] == u || claimed[u])
#define OWNER(u) (ord_unit[0] == u -> 1 : (ord_unit[1] == u -> 2 : 0))
#define OTHER(b) (1 - b)

#define SOLD ((ord_unit[0] != 0 -> 1 : 0) + (ord_unit[1] != 0 -> 1 : 0))

/* After every commit: no two live orders on a unit, none on one that came back,
 * never more than there were. */
inline watch()
{
	assert(!(ord_unit[0] != 0 && ord_unit[0] == ord_unit[1]) &&
	    !(claimed[1] && (ord_unit[0] == 1 || ord_unit[1] == 1)) &&
	    !(claimed[2] && (ord_unit[0] == 2 || ord_unit[1] == 2)) &&
	    SOLD + stock <= UNITS)
}

/* Arming in its three steps; nothing is held between them. */
inline arm(seen, mine, r1, r2)
{
	atomic { seen = epoch; mine = C[cur].epoch }
	atomic {
		!closing;       /* the UPDATE waits for the close's lock */
		if
		:: !closed && epoch == seen && epoch < MAXE ->
			epoch = (mine > epoch -> mine + 1 : epoch + 1);
			mine = epoch
		:: else -> mine = 0
		fi
	}
	if
	:: mine == 0 -> skip
	:: else ->
		atomic { r1 = OWNER(1); r2 = OWNER(2) }
		atomic {
			if
			:: C[cur].epoch > mine -> skip
			:: else ->
				C[cur].st = 1; C[cur].epoch = mine;
				C[cur].held[1] = r1; C[cur].held[2] = r2;
				C[cur].srv = cur; C[cur].repl = replid
			fi
		}
	fi;
	seen = 0; mine = 0; r1 = 0; r2 = 0
}

proctype Buyer(byte b)
{
	byte u, e, tries, seen, mine, r1, r2;
	bool open;
again:
	if
	:: tries == TRIES -> goto end
	:: tries < TRIES -> tries++
	fi;
	u = 0; e = 0;
	/* The script. */
	atomic {
		if
		:: !ARMED -> goto unarmed
		:: else -> skip
		fi;
		e = C[cur].epoch;
		if
		:: C[cur].held[1] == b + 1 -> u = 1
		:: C[cur].held[1] != b + 1 && C[cur].held[2] == b + 1 -> u = 2
		:: C[cur].held[1] != b + 1 && C[cur].held[2] != b + 1 ->
			if
			:: C[cur].held[1] == 0 -> u = 1; C[cur].held[1] = b + 1
			:: C[cur].held[1] != 0 && C[cur].held[2] == 0 ->
				u = 2; C[cur].held[2] = b + 1
			:: else -> goto end /* sold out */
			fi
		fi
	}
	if
	:: skip
	:: goto again           /* killed here, or its client asks again */
	fi;
	/* The statement: its snapshot, */
	atomic {
#ifdef NO_EPOCH
		open = !closed
#else
		open = !closed && epoch == e
#endif
	}
	/* its row, which waits for whoever has one of that key under way, */
	if
	:: !open -> goto decide
	:: open ->
		atomic {
#ifndef NO_KEY
			!(pend[OTHER(b)] == u) && !(closing && claim[u]);
#endif
			if
#ifdef NO_KEY
			:: ord[b] != 0 -> goto decide
#else
			:: ord[b] != 0 || TAKEN(u) -> goto decide
#endif
			:: else -> pend[b] = u
			fi
		}
	fi;
	/* its commit, or the server's crash. */
	atomic {
		if
		:: ord[b] = 1; ord_unit[b] = u; watch()
		:: skip
		fi;
		pend[b] = 0
	}
	if
	:: ord[b] != 0 -> goto end      /* 200 */
	:: goto again           /* no answer: the same key again */
	fi;
decide:
	/* One query on the primary; what it says is acted on a step later. */
	atomic {
		if
		:: ord[b] != 0 -> seen = 1      /* its stored answer */
		:: ord[b] == 0 && closed -> seen = 2
		:: ord[b] == 0 && !closed && epoch != e -> seen = 3
		:: else -> seen = 4; r1 = OWNER(u)
		fi
	}
	atomic {
		if
		:: seen == 1 ->
			if
			:: ARMED && ord_unit[b] != u && C[cur].held[u] == b + 1 ->
				C[cur].held[u] = 0
			:: else -> skip
			fi
		:: seen == 2 -> skip
		:: seen == 3 ->
			if
			:: C[cur].st == 1 && C[cur].epoch == e -> C[cur].st = 2
			:: else -> skip
			fi
		:: else ->
			if
			:: ARMED && C[cur].epoch == e && r1 != 0 -> C[cur].held[u] = r1
			:: else -> skip
			fi
		fi;
		r1 = 0; e = 0
	}
	if
	:: seen < 3 -> seen = 0; goto end
	:: else -> seen = 0; goto again
	fi;
unarmed:
	arm(seen, mine, r1, r2);
	goto again;
end:
	atomic { u = 0; e = 0; done++ }
}

/* The order of buyer 0 may be cancelled, before, during or after the close. */
proctype Cancel()
{
	byte u;
	bool was_closed;

	if
	:: goto end
	:: atomic { ord[0] == 1 && !closing -> share++; was_closed = closed }
	fi;
	atomic {
		u = ord_unit[0]; ord_unit[0] = 0; ord[0] = 2;
		if
		:: was_closed -> stock++;
#ifndef NO_RECLAIM
			/* the row stays, as the close's: a purchase whose
			 * snapshot is of before the close may still come */
			claimed[u] = true;
#endif
			u = 0
		:: else -> skip
		fi;
		watch();
		share--
	}
	/* The task: again until the counter is armed, or the sale closed. */
	if
	:: u == 0 -> skip
	:: atomic { u != 0 && ARMED ->
		if
		:: C[cur].held[u] == 1 -> C[cur].held[u] = 0
		:: else -> skip
		fi }
	:: closed -> skip
	:: u != 0 && done >= 3 -> skip  /* nobody is left to arm it: Final does */
	fi;
end:
	done++
}

proctype Close()
{
	byte n;

	if
	:: goto end
	:: atomic { share == 0 -> closing = true }
	fi;
#ifdef NO_CLAIM
	n = UNITS - (ord_unit[0] != 0 -> 1 : 0) - (ord_unit[1] != 0 -> 1 : 0);
#else
	atomic { pend[0] != 1 && pend[1] != 1; claim[1] = !TAKEN(1) }
	atomic { pend[0] != 2 && pend[1] != 2; claim[2] = !TAKEN(2) }
	n = (claim[1] -> 1 : 0) + (claim[2] -> 1 : 0);
#endif
	atomic {
		claimed[1] = claim[1]; claimed[2] = claim[2];
		stock = stock + n;
		closed = true; epoch++; closing = false; n = 0;
		watch()
	}
	atomic {
		if
		:: C[cur].epoch <= epoch -> C[cur].st = 3; C[cur].epoch = epoch
		:: else -> skip
		fi
	}
end:
	done++
}

/* Housekeeping: one look at a hold that no order justifies, and what is done
 * about it a step later, however long that takes; the same for the epoch. */
proctype Reconcile()
{
	byte u, who, e;

	if
	:: goto end
	:: u = 1
	:: u = 2
	fi;
	atomic {
		if
		:: ARMED && C[cur].held[u] != 0 && ord_unit[C[cur].held[u] - 1] != u ->
			e = C[cur].epoch; who = C[cur].held[u]
		:: else -> skip
		fi
	}
	atomic {
		if
		:: who != 0 && ARMED && C[cur].epoch == e && C[cur].held[u] == who ->
			C[cur].held[u] = 0
		:: else -> skip
		fi;
		u = 0; who = 0; e = 0;
		if
		:: C[cur].st == 1 && C[cur].epoch != epoch && !closed -> C[cur].st = 2
		:: else -> skip
		fi
	}
end:
	done++
}

/*
 * Redis. As it stands: A copies to B, B is led to, B copies to A, A is led to;
 * each at any time after the one before, and each copy may be left out (then the
 * other server has what it had). -DRESTART: instead it restarts once, empty or
 * with what it had (its run_id is another then).
 */
inline copy()
{
	C[1 - cur].st = C[cur].st; C[1 - cur].epoch = C[cur].epoch;
	C[1 - cur].held[1] = C[cur].held[1];
	C[1 - cur].held[2] = C[cur].held[2];
	C[1 - cur].srv = C[cur].srv; C[1 - cur].repl = C[cur].repl
}

proctype Faults()
{
#ifdef RESTART
	if
	:: atomic { C[cur].srv = 9 }
	:: atomic { C[cur].st = 0; C[cur].epoch = 0;
		C[cur].held[1] = 0; C[cur].held[2] = 0 }
	:: skip
	fi;
#else
	if
	:: goto end
	:: atomic { copy() }
	:: skip
	fi;
	atomic { cur = 1 - cur; replid++ }
	if
	:: goto end
	:: atomic { copy() }
	:: skip
	fi;
	atomic { cur = 1 - cur; replid++ }
#endif
end:
	done++
}

/* When all is over: what housekeeping would do last, then the sum. */
proctype Final()
{
	done == 6;
	d_step {
		if
		:: closed -> assert(SOLD + stock == UNITS)
		:: !closed ->
			assert(stock == 0);
			if
			:: !ARMED || C[cur].epoch != epoch ->
				C[cur].held[1] = OWNER(1); C[cur].held[2] = OWNER(2)
			:: else -> /* holds of orders that do not stand */
				if
				:: C[cur].held[1] != 0 && OWNER(1) == 0 -> C[cur].held[1] = 0
				:: else -> skip
				fi;
				if
				:: C[cur].held[2] != 0 && OWNER(2) == 0 -> C[cur].held[2] = 0
				:: else -> skip
				fi
			fi;
			/* every unit is sold or for sale */
			assert(TAKEN(1) || C[cur].held[1] == 0);
			assert(TAKEN(2) || C[cur].held[2] == 0)
		fi
	}
}

init {
	atomic {
		/* armed once, on A */
		C[0].st = 1; C[0].epoch = 1;
		run Buyer(0); run Buyer(1); run Cancel(); run Close();
#ifdef RESTART
		run Reconcile();
#else
		done = 1;       /* housekeeping's turn is searched with restarts */
#endif
		run Faults(); run Final()
	}
}
