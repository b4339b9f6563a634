/*
 * aws_cred - whose requests ours are, found as AWS's own tools find it
 * (https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html):
 *
 *	1. AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN
 *	2. AWS_WEB_IDENTITY_TOKEN_FILE with AWS_ROLE_ARN (STS)
 *	3. the profile AWS_PROFILE ("default") of the shared files
 *	   (AWS_SHARED_CREDENTIALS_FILE, AWS_CONFIG_FILE)
 *	4. AWS_CONTAINER_CREDENTIALS_RELATIVE_URI or ..._FULL_URI (ECS, EKS)
 *	5. the instance's own (IMDSv2), unless AWS_EC2_METADATA_DISABLED=true
 *
 * The first that is configured decides: what is wrong with it is told, and no
 * other identity used instead. Of a profile only its keys are taken: no
 * role_arn, source_profile, credential_process, SSO.
 *
 * What expires is fetched anew five minutes before; while that fails, what is
 * still good goes on to be used. After a failure nothing is asked for a second,
 * two, four... a minute: aws_cred_get() then repeats what was wrong. Nothing of
 * the credentials is ever in a log or an error's text.
 */
#ifndef STORE_AWS_CRED_H
#define STORE_AWS_CRED_H

#include <stdint.h>

#include "base/err.h"
#include "store/sigv4.h"

struct arena;
struct aws_cred;

struct aws_cred_opts {
	/* getenv() and clock_wall_ms() where NULL; for tests. */
	const char *(*env)(void *arg, const char *name);
	int64_t (*wall_ms)(void *arg);
	void *env_arg;   /* of both; borrowed */
	int timeout_ms;  /* of one fetch; 0: 5 seconds */
	const char *sts; /* "https://sts.REGION.amazonaws.com" where "" */
};

/* Never fails: what is wrong is told at the first use. Not shared between
 * threads. */
struct aws_cred *aws_cred_new(const struct aws_cred_opts *opts);
void aws_cred_free(struct aws_cred *cred); /* wipes; NULL is allowed */

/* Strings in the arena. RC_FAIL "aws_no_credentials": nowhere; says where it
 * looked and what was wrong there. RC_RETRY "aws_credentials_away". */
enum rc aws_cred_get(struct aws_cred *cred, struct arena *arena,
    struct sigv4_key *out, struct err *e);

/* Refused as expired: not used again (for a minute, where the same are all that
 * there is), fetched anew. */
void aws_cred_forget(struct aws_cred *cred);

/* AWS_REGION, AWS_DEFAULT_REGION, else the profile's; in the arena; "" none. */
const char *aws_region(struct aws_cred *cred, struct arena *arena);

#endif
