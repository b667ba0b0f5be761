{{/*
The network policy of one kind of pod: who may connect to it, and where it may connect to. Takes {root, component, name}; of a
workload ingress and engine; of a hook its annotations as hook, and sends where it sends a webhook; isClosed where nobody
connects to it.
*/}}
{{- define "paybridge.networkPolicy" -}}
{{- $values := .root.Values -}}
{{- $policy := $values.networkPolicy -}}
{{- /* The brokers' ports: those of the addresses to begin with, and those that brokers tell of themselves. */ -}}
{{- $brokerPorts := $policy.kafka.ports | default list -}}
{{- range splitList "," $values.kafka.bootstrapServers -}}
{{- $brokerPorts = append $brokerPorts (include "paybridge.port" (trim .) | int64) -}}
{{- end -}}
{{- $providerPorts := list -}}
{{- range $source := $values.sources -}}
{{- with $source.api -}}
{{- $url := urlParse .baseUrl -}}
{{- $port := include "paybridge.port" (regexFind ":[0-9]+$" $url.host) | default (ternary "80" "443" (eq $url.scheme "http")) -}}
{{- $providerPorts = append $providerPorts (int64 $port) -}}
{{- end -}}
{{- end -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ .name }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "paybridge.labels" (dict "root" .root "component" .component) | nindent 4 }}
  {{- if .hook }}
  annotations:
    {{- .hook | nindent 4 }}
    helm.sh/hook-weight: "-10"
  {{- end }}
spec:
  podSelector:
    matchLabels:
      {{- include "paybridge.selectorLabels" (dict "root" .root "component" .component) | nindent 6 }}
  policyTypes: [Ingress, Egress]
  {{- if or .hook .isClosed }}
  ingress: []
  {{- else }}
  ingress:
    # Prometheus.
    - ports:
        - port: admin
          protocol: TCP
      {{- with $policy.prometheus }}
      from:
        {{- toYaml . | nindent 8 }}
      {{- end }}
    {{- if .ingress }}
    # The gateway.
    - ports:
        - port: webhooks
          protocol: TCP
      {{- with $policy.gateway }}
      from:
        {{- toYaml . | nindent 8 }}
        # `helm test`.
        - podSelector:
            matchLabels:
              {{- include "paybridge.selectorLabels" (dict "root" $.root "component" "test") | nindent 14 }}
      {{- end }}
    {{- end }}
  {{- end }}
  egress:
    # Names.
    - ports:
        - port: 53
          protocol: UDP
        - port: 53
          protocol: TCP
      {{- with $policy.dns }}
      to:
        {{- toYaml . | nindent 8 }}
      {{- end }}
    # Kafka.
    - ports:
        {{- range $brokerPorts | uniq }}
        - port: {{ . }}
          protocol: TCP
        {{- end }}
      {{- with $policy.kafka.to }}
      to:
        {{- toYaml . | nindent 8 }}
      {{- end }}
    {{- if .sends }}
    # The webhook.
    - ports:
        - port: {{ include "paybridge.port" $values.ingress.listen }}
          protocol: TCP
      to:
        - podSelector:
            matchLabels:
              {{- include "paybridge.selectorLabels" (dict "root" .root "component" (include "paybridge.webhooksComponent" .root)) | nindent 14 }}
    {{- end }}
    {{- if and .engine $providerPorts }}
    # The provider's API.
    - ports:
        {{- range $providerPorts | uniq }}
        - port: {{ . }}
          protocol: TCP
        {{- end }}
      {{- with $policy.provider }}
      to:
        {{- toYaml . | nindent 8 }}
      {{- end }}
    {{- end }}
    {{- with $policy.extraEgress }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}
