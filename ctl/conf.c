/*
 * soukctl conf: the configuration as it is, whether it is right, and the page
 * of the manual that is made from its table.
 */
#include "ctl/ctl.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/conf.h"
#include "base/strbuf.h"
#include "shop/settings.h"

static enum rc
conf_dump_run(struct ctl *ctl, const struct ctl_args *args, struct err *e)
{
	struct strbuf out;

	(void)args;
	(void)e;
	if (ctl->json) {
		json_t *all = json_object();

		for (const struct conf_row *r = settings_rows;
		     r->section != NULL; r++) {
			if (strchr(r->section, '*') != NULL)
				continue;
			json_t *sect = json_object_get(all, r->section);
			bool hide = r->secret && conf_str(ctl->conf, r->section,
						     r->key)[0] != '\0';

			if (sect == NULL) {
				sect = json_object();
				(void)json_object_set_new(
				    all, r->section, sect);
			}
			(void)json_object_set_new(sect, r->key,
			    json_pack("{s:s, s:s}", "value",
				hide ? "(set)"
				     : conf_str(ctl->conf, r->section, r->key),
				"source",
				conf_source(ctl->conf, r->section, r->key)));
		}
		ctl_print_json(all);
		return RC_OK;
	}
	strbuf_init(&out, 4096);
	conf_dump(ctl->conf, &out);
	(void)fwrite(out.s, 1, out.len, stdout);
	strbuf_release(&out);
	return RC_OK;
}

static enum rc
conf_check_run(struct ctl *ctl, const struct ctl_args *args, struct err *e)
{
	struct strbuf problems;
	struct conf *conf = NULL;

	(void)args;
	strbuf_init(&problems, 0);

	enum rc rc = settings_load(ctl->conf_path, &conf, &problems, e);

	if (problems.len > 0) {
		/* All of them; the error repeats the first. */
		(void)fwrite(problems.s, 1, problems.len, stderr);
		rc = err_set(e, RC_FAIL, "bad_configuration", "%s", "");
	} else if (rc == RC_OK) {
		ctl_say(ctl, "configuration is right");
	}
	conf_free(conf);
	strbuf_release(&problems);
	return rc;
}

static enum rc
conf_sample_run(struct ctl *ctl, const struct ctl_args *args, struct err *e)
{
	struct strbuf out;

	(void)ctl;
	(void)args;
	(void)e;
	strbuf_init(&out, 16384);
	strbuf_adds(&out,
	    "; souk.ini - the shop's configuration, described in souk.ini(5).\n"
	    "; What is commented out here has the value shown. Check it with\n"
	    "; `soukctl conf check`; it may hold passwords: mode 0640.\n");
	conf_sample(settings_rows, &out);
	(void)fwrite(out.s, 1, out.len, stdout);
	strbuf_release(&out);
	return RC_OK;
}

static enum rc
conf_man_run(struct ctl *ctl, const struct ctl_args *args, struct err *e)
{
	struct strbuf out;

	(void)ctl;
	(void)args;
	(void)e;
	strbuf_init(&out, 16384);
	conf_mdoc(settings_rows, &out);
	(void)fwrite(out.s, 1, out.len, stdout);
	strbuf_release(&out);
	return RC_OK;
}

const struct ctl_cmd conf_cmds[] = {
	{ .name = "conf dump",
	    .operands = "",
	    .help = "the effective configuration; secrets are not shown",
	    .run = conf_dump_run },
	{ .name = "conf check",
	    .operands = "",
	    .help = "name everything that is wrong with the configuration",
	    .no_conf = true,
	    .run = conf_check_run },
	{ .name = "conf sample",
	    .operands = "",
	    .help = "a souk.ini to start from: every key, with its default",
	    .no_conf = true,
	    .run = conf_sample_run },
	{ .name = "conf man",
	    .operands = "",
	    .help = "what souk.ini(5) says of each key, in mdoc",
	    .no_conf = true,
	    .run = conf_man_run },
	{ 0 },
};
