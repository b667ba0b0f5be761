{{/*
Names, labels and the list of workloads. Knows nothing of the daemon's configuration: _config.tpl does.
*/}}

{{- define "paybridge.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{/* What every object's name begins with: 49 characters, so that the longest suffix, -ingress-check, has room in the 63 of a label. */}}
{{- define "paybridge.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 49 | trimSuffix "-" -}}
{{- else if contains (include "paybridge.name" .) .Release.Name -}}
{{- .Release.Name | trunc 49 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "paybridge.name" .) | trunc 49 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Labels that select pods. Takes {root, component}; without a component: all of the release. */}}
{{- define "paybridge.selectorLabels" -}}
app.kubernetes.io/name: {{ include "paybridge.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- with .component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end -}}

{{/* Labels of every object. Takes {root, component}. */}}
{{- define "paybridge.labels" -}}
{{ include "paybridge.selectorLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* Labels of a workload's pods. Takes {root, component}. Without the chart's version: another one alone restarts nobody. */}}
{{- define "paybridge.podLabels" -}}
{{ include "paybridge.selectorLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
{{- end -}}

{{- define "paybridge.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- define "paybridge.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{ .Values.serviceAccount.name | default (include "paybridge.fullname" .) }}
{{- else -}}
{{ .Values.serviceAccount.name | default "default" }}
{{- end -}}
{{- end -}}

{{/* The account of the check's pods: before an installation there is none of the chart's but one that is a hook too. */}}
{{- define "paybridge.checkAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{ include "paybridge.fullname" . }}-check
{{- else -}}
{{ include "paybridge.serviceAccountName" . }}
{{- end -}}
{{- end -}}

{{/* The account of the Jobs that drain claims: they may run where the release is gone. */}}
{{- define "paybridge.drainAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{ include "paybridge.fullname" . }}-drain
{{- else -}}
{{ include "paybridge.serviceAccountName" . }}
{{- end -}}
{{- end -}}

{{/* When the check runs. Where Strimzi makes topics or the user, there is nothing to look at before the release is there. */}}
{{- define "paybridge.checkHook" -}}
helm.sh/hook: {{ ternary "post-install,post-upgrade" "pre-install,pre-upgrade" .Values.strimzi.enabled }}
# What failed stays until the next check, so that its log can be read. Helm removes no hook with the release.
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end -}}

{{/*
The workloads as JSON {workloads: [{component, name, ingress, engine, spool, settings}]}: whether each takes webhooks, whether
it decides, whether its pods have disks of their own, and its Kubernetes settings, those of `split` laid over those of
`workload`.
*/}}
{{- define "paybridge.workloads" -}}
{{- $fullname := include "paybridge.fullname" . -}}
{{- $base := .Values.workload -}}
{{- $workloads := list -}}
{{- if eq .Values.mode "combined" -}}
{{- $workloads = list (dict "component" "bridge" "name" $fullname "ingress" .Values.ingress.enabled "engine" .Values.confirmation.enabled "spool" .Values.spool.enabled "settings" $base) -}}
{{- else -}}
{{- $ingress := mergeOverwrite (deepCopy $base) (deepCopy .Values.split.ingress) -}}
{{- $engine := mergeOverwrite (deepCopy $base) (deepCopy .Values.split.engine) -}}
{{- $workloads = list
      (dict "component" "ingress" "name" (printf "%s-ingress" $fullname) "ingress" true "engine" false "spool" .Values.spool.enabled "settings" $ingress)
      (dict "component" "engine" "name" (printf "%s-engine" $fullname) "ingress" false "engine" true "spool" false "settings" $engine) -}}
{{- end -}}
{{- toJson (dict "workloads" $workloads) -}}
{{- end -}}

{{/* The component whose pods take webhooks; empty where none does. */}}
{{- define "paybridge.webhooksComponent" -}}
{{- if eq .Values.mode "split" -}}ingress{{- else if .Values.ingress.enabled -}}bridge{{- end -}}
{{- end -}}

{{/* Where a pod's disk is: the folder above that of the spool, for the daemon makes its own with the rights that it wants. */}}
{{- define "paybridge.spoolMountPath" -}}
{{- dir .Values.spool.directory -}}
{{- end -}}

{{/* The port of an address of the configuration. */}}
{{- define "paybridge.port" -}}
{{- regexFind "[0-9]+$" . -}}
{{- end -}}

{{/* How long a pod has to end, in seconds: at least the daemon's own bound and five seconds. Takes {root, settings}. */}}
{{- define "paybridge.terminationGracePeriodSeconds" -}}
{{- $bound := add (int64 .root.Values.shutdown.drainDelayMs) (int64 .root.Values.shutdown.graceMs) -}}
{{- $least := add 5 (div (add $bound 999) 1000) -}}
{{- $asked := .settings.terminationGracePeriodSeconds -}}
{{- if kindIs "invalid" $asked -}}
{{- $least -}}
{{- else if lt (int64 $asked) $least -}}
{{- fail (printf "terminationGracePeriodSeconds is %d, but the daemon may take shutdown.drainDelayMs + shutdown.graceMs = %d ms to end, and needs 5 s more: make it %d or more, or leave it out" (int64 $asked) $bound $least) -}}
{{- else -}}
{{- int64 $asked -}}
{{- end -}}
{{- end -}}

{{/* Pod security `restricted`, for every pod. */}}
{{- define "paybridge.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "paybridge.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* The engine's consumer group. */}}
{{- define "paybridge.groupId" -}}
{{- .Values.confirmation.groupId | default (printf "%s.paybridge-confirmation" .Values.kafka.topicPrefix) -}}
{{- end -}}

{{/* What the transactional ids of all pods begin with: the topics' prefix in any case, then the group, then a dot. */}}
{{- define "paybridge.transactionalIds" -}}
{{- $ids := printf "%s." (include "paybridge.groupId" .) -}}
{{- $prefix := printf "%s." .Values.kafka.topicPrefix -}}
{{- ternary $ids (print $prefix $ids) (hasPrefix $prefix $ids) -}}
{{- end -}}
