/* soukctl completion: what a shell needs to know, from the tables. */
#include "ctl/ctl.h"

#include <stdio.h>
#include <string.h>

/* One line a command: its name, and its options. */
static void
completion_cases(void)
{
	for (int g = 0; ctl_groups[g] != NULL; g++) {
		for (const struct ctl_cmd *c = ctl_groups[g]; c->name != NULL;
		     c++) {
			(void)printf("\t\t'%s') opts='", c->name);
			for (const struct ctl_opt *o = c->opts;
			     o != NULL && o->name != NULL; o++)
				(void)printf(
				    "%s--%s", o == c->opts ? "" : " ", o->name);
			(void)printf("' ;;\n");
		}
	}
}

static enum rc
completion_run(struct ctl *ctl, const struct ctl_args *args, struct err *e)
{
	(void)ctl;
	(void)args;
	(void)e;
	(void)printf("# bash completion for soukctl, made by "
		     "`soukctl completion`\n"
		     "_soukctl() {\n"
		     "\tlocal cur=${COMP_WORDS[COMP_CWORD]} words='' opts='' "
		     "name cmd rest\n"
		     "\tname=\"${COMP_WORDS[*]:1:COMP_CWORD-1}\"\n"
		     "\tfor cmd in");
	for (int g = 0; ctl_groups[g] != NULL; g++) {
		for (const struct ctl_cmd *c = ctl_groups[g]; c->name != NULL;
		     c++)
			(void)printf(" '%s'", c->name);
	}
	(void)printf("; do\n"
		     "\t\trest=${cmd#\"$name\"}\n"
		     "\t\t[ -z \"$name\" ] || [ \"${rest# }\" != \"$rest\" ] "
		     "|| continue\n"
		     "\t\trest=${rest# }\n"
		     "\t\twords=\"$words ${rest%%%% *}\"\n"
		     "\tdone\n"
		     "\tname=\"${COMP_WORDS[1]} ${COMP_WORDS[2]}\"\n"
		     "\tfor cmd in \"$name\" \"${COMP_WORDS[1]}\"; do\n"
		     "\t\tcase $cmd in\n");
	completion_cases();
	(void)printf("\t\t*) continue ;;\n"
		     "\t\tesac\n"
		     "\t\tbreak\n"
		     "\tdone\n"
		     "\tif [ \"${cur#-}\" != \"$cur\" ]; then\n"
		     "\t\tmapfile -t COMPREPLY < <(compgen -W \"$opts --conf "
		     "--json --quiet --help\" -- \"$cur\")\n"
		     "\telif [ -n \"${words// }\" ]; then\n"
		     "\t\tmapfile -t COMPREPLY < <(compgen -W \"$words\" -- "
		     "\"$cur\")\n"
		     "\telse\n"
		     "\t\tmapfile -t COMPREPLY < <(compgen -f -- \"$cur\")\n"
		     "\tfi\n"
		     "}\n"
		     "complete -F _soukctl soukctl\n");
	return RC_OK;
}

/* ---- the commands' part of soukctl(8) */

/* Text for mdoc: no line may begin like a macro, no escape may slip in. */
static void
mdoc_text(const char *s)
{
	if (*s == '.' || *s == '\'')
		(void)fputs("\\&", stdout);
	for (; *s != '\0'; s++) {
		if (*s == '\\')
			(void)fputs("\\e", stdout);
		else
			(void)putchar(*s);
	}
	(void)putchar('\n');
}

static void
mdoc_command(const struct ctl_cmd *c)
{
	(void)printf(".It Ic %s", c->name);
	if (c->opts != NULL)
		(void)printf(" Oo Ar option ... Oc");
	if (c->operands[0] == '[')
		(void)printf(" Op Ar %.*s ...",
		    (int)strcspn(c->operands + 1, ".]"), c->operands + 1);
	else if (c->operands[0] != '\0')
		(void)printf(" Ar %s", c->operands);
	(void)putchar('\n');
	mdoc_text(c->help);
	if (c->opts == NULL)
		return;
	(void)printf(".Bl -tag -width Ds -compact\n");
	for (const struct ctl_opt *o = c->opts; o->name != NULL; o++) {
		(void)printf(".It Fl -%s%s%s\n", o->name,
		    o->arg != NULL ? " Ar " : "", o->arg != NULL ? o->arg : "");
		mdoc_text(o->help);
	}
	(void)printf(".El\n");
}

static enum rc
manual_run(struct ctl *ctl, const struct ctl_args *args, struct err *e)
{
	(void)ctl;
	(void)args;
	(void)e;
	(void)printf(".Bl -tag -width Ds\n");
	for (int g = 0; ctl_groups[g] != NULL; g++) {
		for (const struct ctl_cmd *c = ctl_groups[g]; c->name != NULL;
		     c++)
			mdoc_command(c);
	}
	(void)printf(".El\n");
	return RC_OK;
}

const struct ctl_cmd help_cmds[] = {
	{ .name = "manual",
	    .operands = "",
	    .help = "the commands' part of soukctl(8), in mdoc",
	    .no_conf = true,
	    .run = manual_run },
	{ .name = "completion",
	    .operands = "",
	    .help = "a completion script for bash",
	    .no_conf = true,
	    .run = completion_run },
	{ 0 },
};
